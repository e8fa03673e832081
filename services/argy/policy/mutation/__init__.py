"""Mutation testing of a policy: would its cases notice a mistake?"""
